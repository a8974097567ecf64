"""The administration site."""

from django.contrib import admin

from core.models import Agent, Direction, Service, SousDirection

admin.site.site_header = "eDiligence"
admin.site.site_title = "eDiligence"
admin.site.index_title = "Organisation"


class SousDirectionInline(admin.TabularInline):
    model = SousDirection
    extra = 0
    show_change_link = True


class ServiceInline(admin.TabularInline):
    model = Service
    fields = ["nom", "sigle", "effectif", "actif"]
    extra = 0
    show_change_link = True


@admin.register(Direction)
class DirectionAdmin(admin.ModelAdmin):
    list_display = ["nom", "sigle"]
    search_fields = ["nom", "sigle"]
    inlines = [SousDirectionInline]


@admin.register(SousDirection)
class SousDirectionAdmin(admin.ModelAdmin):
    list_display = ["nom", "direction"]
    list_select_related = ["direction"]
    list_filter = ["direction"]
    search_fields = ["nom", "direction__nom"]
    autocomplete_fields = ["direction"]
    inlines = [ServiceInline]


@admin.register(Service)
class ServiceAdmin(admin.ModelAdmin):
    list_display = ["nom", "sigle", "direction_de_rattachement", "sous_direction", "effectif", "actif"]
    list_select_related = ["sous_direction__direction", "direction"]
    list_filter = ["actif", ("sous_direction", admin.EmptyFieldListFilter), "sous_direction__direction"]
    search_fields = ["nom", "sigle", "sous_direction__nom"]
    autocomplete_fields = ["sous_direction"]
    readonly_fields = ["direction", "cree_le", "modifie_le"]

    @admin.display(description="direction")
    def direction_de_rattachement(self, service: Service) -> Direction | None:
        return service.direction_de_rattachement


@admin.register(Agent)
class AgentAdmin(admin.ModelAdmin):
    list_display = ["user", "role", "service", "sous_direction", "direction"]
    list_select_related = ["user", "service", "sous_direction", "direction"]
    list_filter = ["role"]
    search_fields = ["user__username", "user__last_name", "user__first_name"]
    autocomplete_fields = ["user", "service", "sous_direction", "direction"]
